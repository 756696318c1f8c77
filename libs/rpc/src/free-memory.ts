/** Bytes from which on memory is worth freeing at once. */
const worthFreeing = 16 * 1024

/**
 * Frees the memory of bytes that nobody is going to look at again, of whatever view, without waiting for a collection of
 * garbage, each of which marks the whole heap. Nothing happens where other bytes may be in the same memory.
 */
export function freeMemory({ buffer, length }: Uint8Array): void {
  if (length < worthFreeing || length < buffer.byteLength) return
  // Absent from Node 20.
  if (buffer instanceof ArrayBuffer) buffer.transfer?.(0)
}
