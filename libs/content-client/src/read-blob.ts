import type { ContentDefinition } from '@flotilla/api/containerd/services/content/v1/content'
import { type Call, failedPrecondition, type ServiceOf } from '@flotilla/rpc'

/**
 * Reads a whole blob into memory.
 *
 * @param most bytes; a larger blob is FAILED_PRECONDITION
 */
export async function readBlob(
  content: ServiceOf<typeof ContentDefinition>,
  digest: string,
  most: number,
  call: Call,
): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  let size = 0
  for await (const { data } of content.read({ digest, offset: 0, size: 0 }, call)) {
    size += data.length
    if (size > most) throw failedPrecondition(`content ${digest} is larger than ${most} bytes`)
    pieces.push(data)
  }
  return Buffer.concat(pieces)
}
