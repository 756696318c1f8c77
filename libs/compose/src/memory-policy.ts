import { setFlagsFromString } from 'node:v8'

/** The first Node whose V8 has the flag; older ones would complain about it on stderr. */
const since = 26

/**
 * Bytes of blobs are memory outside V8's heap. By default each 32 MB of them sets off a complete collection of the
 * heap, 10 to 30 ms in which nobody is answered, though there is hardly anything to collect; counted within the limit
 * of the whole, their buffers go with the much cheaper collections of young objects, and fewer of them are there at a
 * time.
 */
export function collectBuffersYoung(): void {
  if (Number.parseInt(process.versions.node, 10) < since) return
  setFlagsFromString('--external-memory-accounted-in-global-limit')
}
