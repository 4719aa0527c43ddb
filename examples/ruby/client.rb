# An HTTPS client: client.rb HOST ADDRESS PORT PATH CAFILE
require 'socket'

IPPROTO_TLS, TLS_REMOTE_HOSTNAME, TLS_TRUSTED_PEER_CERTIFICATES, TLS_ERROR = 205, 85, 87, 100

host, address, port, path, anchors = ARGV
s = Socket.new(:INET, :STREAM, IPPROTO_TLS)
begin
  s.setsockopt(IPPROTO_TLS, TLS_TRUSTED_PEER_CERTIFICATES, "#{anchors}\0")
  s.setsockopt(IPPROTO_TLS, TLS_REMOTE_HOSTNAME, "#{host}\0")
  s.connect(Addrinfo.tcp(address, port))
  s.write("GET #{path} HTTP/1.1\r\nHost: #{host}\r\nConnection: close\r\n\r\n")
  head = s.gets("\r\n\r\n").to_s
  abort "client: #{head.lines.first&.chomp}" unless head.start_with?('HTTP/1.1 200 ')
  IO.copy_stream(s, $stdout)
rescue SystemCallError => e
  abort "client: #{e.message}: #{s.getsockopt(IPPROTO_TLS, TLS_ERROR).data.unpack1('Z*')}"
end
