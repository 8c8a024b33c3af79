// Threads of the library's own, for callers that bring none.
#ifndef RMSPROP_POOL_HPP
#define RMSPROP_POOL_HPP

#include "rmsprop.h"

namespace rmsprop {

// Calls body on disjoint ranges that cover [0, total), on this thread and on up to threads - 1 waiting ones.
void run_on_pool(int64_t total, int32_t threads, rmsprop_body body, void* context);

}  // namespace rmsprop

#endif
