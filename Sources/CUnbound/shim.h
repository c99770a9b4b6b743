// The whole bridge to libunbound. Only the DNS plugins' target imports it.
#include <unbound.h>
