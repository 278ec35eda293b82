"""What serve.Server is measured against: the standard library's forking server."""
import socketserver


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        while data := self.request.recv(64 << 10):
            self.request.sendall(data)


class Server(socketserver.ForkingTCPServer):
    request_queue_size = 4096
    max_children = 200


with Server(("127.0.0.1", 0), Echo) as server:
    print("listening on 127.0.0.1:%d" % server.server_address[1], flush=True)
    server.serve_forever()
