// An HTTP client: client_tcp HOST ADDRESS PORT PATH
package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "client:", err)
		os.Exit(1)
	}
}

func main() {
	host, address, path := os.Args[1], net.JoinHostPort(os.Args[2], os.Args[3]), os.Args[4]
	conn, err := net.Dial("tcp", address)
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
