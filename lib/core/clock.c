#include "lib/core/clock.h"

#include <stdio.h>

int64_t clock_wall(void)
{
	return (int64_t)time(NULL);
}

int64_t clock_monotonic_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

const char *clock_text(int64_t wall, char text[CLOCK_TEXT_MAX])
{
	time_t when = (time_t)wall;
	struct tm tm;
	if (!gmtime_r(&when, &tm) || !strftime(text, CLOCK_TEXT_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm))
		snprintf(text, CLOCK_TEXT_MAX, "%lld", (long long)wall);
	return text;
}

bool clock_parse(const char *text, int64_t *ret)
{
	struct tm tm = {0};
	const char *rest = strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm);
	bool good = rest && !*rest;
	*ret = good ? (int64_t)timegm(&tm) : 0;
	return good;
}

const char *clock_span(int64_t milliseconds, char text[CLOCK_TEXT_MAX])
{
	const char *sign = milliseconds < 0 ? "-" : "";
	long long ms = milliseconds < 0 ? -milliseconds : milliseconds;
	long long s = ms / 1000;
	if (s < 60)
		snprintf(text, CLOCK_TEXT_MAX, "%s%lld.%03llds", sign, s, ms % 1000);
	else if (s < 3600)
		snprintf(text, CLOCK_TEXT_MAX, "%s%lldm%llds", sign, s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, CLOCK_TEXT_MAX, "%s%lldh%lldm", sign, s / 3600, s / 60 % 60);
	else
		snprintf(text, CLOCK_TEXT_MAX, "%s%lldd%lldh", sign, s / 86400, s / 3600 % 24);
	return text;
}
