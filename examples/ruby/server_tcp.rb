# An echo server, one thread for each client: server_tcp.rb ADDRESS PORT
require 'socket'

def echo(client)
  client.each_line { |line| client.write(line) }
rescue SystemCallError => e
  warn "server: #{e.message}"
ensure
  client.close
end

trap(:TERM) { exit }
address, port = ARGV
s = Socket.new(:INET, :STREAM, Socket::IPPROTO_TCP)
begin
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
  abort "server: #{e.message}"
end
