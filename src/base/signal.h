// Ctrl-C and SIGTERM as a flag: long loops ask interrupted() between units of work, save, and leave with exit code 1.
// A write beyond the file size limit (ulimit -f) becomes an error message instead of a signal.
// A second Ctrl-C ends the process at once (every write is atomic, so nothing is half-written).
#pragma once

namespace puyu {

void catch_interrupts();
bool interrupted();
void clear_interrupt();

}  // namespace puyu
