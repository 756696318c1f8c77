import { BulkWriter } from './bulk-writer.ts'
import type { WireType } from './service.ts'

const stored = new WeakMap<object, Buffer>()
const encodings = new WeakMap<object, Buffer>()

/** Field 1, with a length. */
const tag = 0x0a

/**
 * An answer whose only field, of number 1, is a message whose bytes are at hand, as in `GetContainerResponse`. A server
 * sends the bytes as they are; they are decoded when somebody in this process looks at the field. A changed copy is
 * encoded as usual; the message itself must not be changed.
 */
export function storedAnswer<K extends string, T>(field: K, type: WireType<T>, bytes: Buffer): Record<K, T> {
  let message: T | undefined
  const answer = Object.defineProperty({}, field, {
    enumerable: true,
    get: () => {
      message ??= type.decode(bytes)
      return message
    },
  }) as Record<K, T>
  stored.set(answer, bytes)
  return answer
}

/**
 * Decodes a message that is sent as it came, perhaps to many: a server does not encode it again. It must not be changed;
 * a changed copy is encoded as usual.
 */
export function decodedAnswer<T extends object>(type: WireType<T>, bytes: Buffer): T {
  const message = type.decode(bytes)
  encodings.set(message, bytes)
  return message
}

/** The bytes of an answer that {@link storedAnswer} or {@link decodedAnswer} made; undefined for all others. */
export function storedBytes(answer: unknown): Buffer | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined
  const bytes = stored.get(answer)
  if (bytes === undefined) return encodings.get(answer)
  return new BulkWriter().uint32(tag).bytes(bytes).finish()
}
