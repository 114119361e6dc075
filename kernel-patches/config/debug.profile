# default, with a serial console and everything it can say.
@default
serial
debug
