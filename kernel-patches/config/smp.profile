# default, and several processors.
@default
smp
