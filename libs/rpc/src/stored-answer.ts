import { BulkWriter } from './bulk-writer.ts'
import type { WireType } from './service.ts'

const stored = new WeakMap<object, Buffer>()

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

/** The bytes of an answer that {@link storedAnswer} made; undefined for all others. */
export function storedBytes(answer: unknown): Buffer | undefined {
  const bytes = typeof answer === 'object' && answer !== null ? stored.get(answer) : undefined
  return bytes && new BulkWriter().uint32(tag).bytes(bytes).finish()
}
