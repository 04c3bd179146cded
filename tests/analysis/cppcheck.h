/* cppcheck reads no header of another project, but it has to know these macros of theirs. */
#define cJSON_ArrayForEach(element, array) \
	for (element = (array) ? (array)->child : 0; element; element = element->next)
/* mem_abort() does not return, like abort(3), which cppcheck knows. */
#define mem_abort(where) abort()
