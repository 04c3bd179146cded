/* cppcheck reads no header of another project; these macros of theirs it must know. */
#define cJSON_ArrayForEach(element, array) \
	for (element = (array) ? (array)->child : 0; element; element = element->next)
/* Does not return, as abort(3), which cppcheck knows. */
#define mem_abort(where) abort()
