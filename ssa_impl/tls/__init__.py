"""TLS without sockets: ciphertext and plain text go in and come out as bytes (OpenSSL over memory BIOs)."""
