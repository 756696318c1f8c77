/**
 * A command that prints a line and lives on for a moment. A client of containerd's Go library opens the FIFO of an exec's
 * output while it goes on, and gives one up that is not open yet when it hears of the exit: on a busy machine, where that
 * can take a tenth of a second, the output of a program that ends at once is lost, over containerd too.
 */
export const printing = (text: string): string[] => ['sh', '-c', `echo ${text}; sleep 0.3`]
