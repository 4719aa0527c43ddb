# An echo server over TLS, one thread for each client: server.rb ADDRESS PORT CHAIN KEY
require 'socket'

IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, TLS_PRIVATE_KEY, TLS_ERROR = 205, 88, 89, 100

def echo(client)
  client.each_line { |line| client.write(line) }
rescue SystemCallError => e
  warn "server: #{e.message}"
ensure
  client.close
end

trap(:TERM) { exit }
address, port, chain, key = ARGV
s = Socket.new(:INET, :STREAM, IPPROTO_TLS)
begin
  s.setsockopt(IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, "#{chain}\0")
  s.setsockopt(IPPROTO_TLS, TLS_PRIVATE_KEY, "#{key}\0")
  s.setsockopt(:SOCKET, :REUSEADDR, true)
  s.bind(Addrinfo.tcp(address, port))
  s.listen(Socket::SOMAXCONN)
  $stdout.sync = true
  puts "listening on #{s.local_address.ip_port}"
  loop do
    client, = s.accept
    Thread.new { echo(client) }
  end
rescue SystemCallError => e
  abort "server: #{e.message}: #{s.getsockopt(IPPROTO_TLS, TLS_ERROR).data.unpack1('Z*')}"
end
