/* Find the functions behind ours (dlsym(3), RTLD_NEXT). */
#define _GNU_SOURCE
#include "real.h"

#include <dlfcn.h>

struct real_calls real_calls;

void find_real_calls(void)
{
#define FIND(result, name, parameters) *(void **)&real_calls.name = dlsym(RTLD_NEXT, #name);
    REAL_CALLS(FIND)
#undef FIND
    __atomic_store_n(&real_calls.found, true, __ATOMIC_RELEASE);
}
