"""The life of one secure socket.  Pure: no socket, no clock, no file.

* ``states`` -- the transition table: what each event means in each state, and the errno where it means nothing.
* ``values`` -- option values as bytes, both ways.
* ``addresses`` -- the application's sockaddr, both ways.
* ``secure_socket`` -- the machine that ties these together: what the application asked for, and what it may know.
"""
