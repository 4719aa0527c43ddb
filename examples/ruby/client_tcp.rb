# An HTTP client: client_tcp.rb HOST ADDRESS PORT PATH
require 'socket'

host, address, port, path = ARGV
s = Socket.new(:INET, :STREAM, Socket::IPPROTO_TCP)
begin
  s.connect(Addrinfo.tcp(address, port))
  s.write("GET #{path} HTTP/1.1\r\nHost: #{host}\r\nConnection: close\r\n\r\n")
  head = s.gets("\r\n\r\n").to_s
  abort "client: #{head.lines.first&.chomp}" unless head.start_with?('HTTP/1.1 200 ')
  IO.copy_stream(s, $stdout)
rescue SystemCallError => e
  abort "client: #{e.message}"
end
