// An HTTPS client: client HOST ADDRESS PORT PATH CAFILE
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

const IPPROTO_TLS, TLS_REMOTE_HOSTNAME, TLS_TRUSTED_PEER_CERTIFICATES, TLS_ERROR = 205, 85, 87, 100

// dial does what net.Dial does, with another third argument of socket() and two options.
func dial(address, host, anchors string) (net.Conn, error) {
	target, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, IPPROTO_TLS)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), address)
	defer file.Close()
	if err := syscall.SetsockoptString(fd, IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, anchors+"\x00"); err != nil {
		return nil, explain(fd, err)
	}
	if err := syscall.SetsockoptString(fd, IPPROTO_TLS, TLS_REMOTE_HOSTNAME, host+"\x00"); err != nil {
		return nil, explain(fd, err)
	}
	if err := syscall.Connect(fd, &syscall.SockaddrInet4{Port: int(target.Port()), Addr: target.Addr().As4()}); err != nil {
		return nil, explain(fd, err)
	}
	return net.FileConn(file)
}

// explain adds what TLS_ERROR says; package syscall reads no options that are strings.
func explain(fd int, err error) error {
	var text [1024]byte
	size := uint32(len(text))
	syscall.Syscall6(syscall.SYS_GETSOCKOPT, uintptr(fd), IPPROTO_TLS, TLS_ERROR,
		uintptr(unsafe.Pointer(&text)), uintptr(unsafe.Pointer(&size)), 0)
	reason, _, _ := strings.Cut(string(text[:]), "\x00")
	return fmt.Errorf("%w: %s", err, reason)
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func main() {
	host, address, path := os.Args[1], net.JoinHostPort(os.Args[2], os.Args[3]), os.Args[4]
	conn, err := dial(address, host, os.Args[5])
	check(err)
	_, err = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host)
	check(err)
	response := bufio.NewReader(conn)
	status, err := response.ReadString('\n')
	check(err)
	if !strings.Contains(status, " 200 ") {
		check(fmt.Errorf("%s", strings.TrimSpace(status)))
	}
	for line := status; line != "\r\n"; {
		line, err = response.ReadString('\n')
		check(err)
	}
	_, err = io.Copy(os.Stdout, response)
	check(err)
}
