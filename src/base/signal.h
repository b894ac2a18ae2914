// Ctrl-C and SIGTERM as a flag: long loops ask interrupted() between units of work, save, and leave with exit code 1.
// SIGUSR1 asks for the same, as often as it likes: Slurm's warning before the time limit (#SBATCH --signal=USR1@120).
// A write beyond the file size limit (ulimit -f) becomes an error message instead of a signal.
// A second Ctrl-C or SIGTERM ends the process at once (every write is atomic, so nothing is half-written).
#pragma once

namespace puyu {

void catch_interrupts();
bool interrupted();
void clear_interrupt();

}  // namespace puyu
