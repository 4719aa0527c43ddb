// An echo server over TLS, one goroutine for each client: server ADDRESS PORT CHAIN KEY
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unsafe"
)

const IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, TLS_PRIVATE_KEY, TLS_ERROR = 205, 88, 89, 100

// listen does what net.Listen does, with another third argument of socket() and two options.
func listen(address, chain, key string) (net.Listener, error) {
	own, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, IPPROTO_TLS)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	file := os.NewFile(uintptr(fd), address)
	defer file.Close()
	if err := syscall.SetsockoptString(fd, IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, chain+"\x00"); err != nil {
		return nil, explain(fd, err)
	}
	if err := syscall.SetsockoptString(fd, IPPROTO_TLS, TLS_PRIVATE_KEY, key+"\x00"); err != nil {
		return nil, explain(fd, err)
	}
	if err := syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return nil, explain(fd, err)
	}
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Port: int(own.Port()), Addr: own.Addr().As4()}); err != nil {
		return nil, explain(fd, err)
	}
	if err := syscall.Listen(fd, syscall.SOMAXCONN); err != nil {
		return nil, explain(fd, err)
	}
	return net.FileListener(file)
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
		fmt.Fprintln(os.Stderr, "server:", err)
		os.Exit(1)
	}
}

func echo(conn net.Conn) {
	defer conn.Close()
	io.Copy(conn, conn)
}

func main() {
	address := net.JoinHostPort(os.Args[1], os.Args[2])
	listener, err := listen(address, os.Args[3], os.Args[4])
	check(err)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGTERM)
	go func() {
		<-ended
		listener.Close()
	}()
	fmt.Printf("listening on %d\n", listener.Addr().(*net.TCPAddr).Port)
	for {
		conn, err := listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		check(err)
		go echo(conn)
	}
}
