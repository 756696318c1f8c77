/** A name in an open directory: what happens to the path above it meanwhile does not matter. */
export interface Name {
  /** Descriptor of the directory. */
  readonly directory: number
  /** Bytes, since names need not be UTF-8. */
  readonly name: Buffer
}

/** A path for calls that take no directory, with the same protection but for a final symlink. */
export function pathOf({ directory, name }: Name): Buffer {
  return directory < 0 ? name : Buffer.concat([Buffer.from(`/proc/self/fd/${directory}/`), name])
}
