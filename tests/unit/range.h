/* cmocka 2 has an assertion for each sign, where cmocka 1 has one for all, which 2 calls deprecated. */
#ifndef CERTSYNC_TEST_RANGE_H
#define CERTSYNC_TEST_RANGE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#ifndef assert_uint_in_range
#define assert_uint_in_range assert_in_range
#endif

#endif
