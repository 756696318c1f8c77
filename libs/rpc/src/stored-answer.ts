import { BulkWriter } from './bulk-writer.ts'
import type { WireType } from './service.ts'

const encodings = new WeakMap<object, Buffer>()

/** Field 1, with a length. */
const tag = 0x0a

/** One for each name of a field: objects whose properties are made with the same functions have one shape. */
const properties = new Map<string, PropertyDescriptor>()

/** See {@link storedAnswer}. */
class StoredAnswer<T> {
  readonly #type: WireType<T>
  readonly #bytes: Buffer
  #message: T | undefined

  constructor(field: string, type: WireType<T>, bytes: Buffer) {
    this.#type = type
    this.#bytes = bytes
    let property = properties.get(field)
    if (property === undefined) {
      property = { enumerable: true, get: messageOf }
      properties.set(field, property)
    }
    Object.defineProperty(this, field, property)
  }

  message(): T {
    this.#message ??= this.#type.decode(this.#bytes)
    return this.#message
  }

  static bytesOf(answer: object): Buffer | undefined {
    return #bytes in answer ? answer.#bytes : undefined
  }
}

function messageOf(this: StoredAnswer<unknown>): unknown {
  return this.message()
}

/**
 * An answer whose only field, of number 1, is a message whose bytes are at hand, as in `GetContainerResponse`. A server
 * sends the bytes as they are; they are decoded when somebody in this process looks at the field. A changed copy is
 * encoded as usual; the message itself must not be changed, and neither must the bytes.
 */
export function storedAnswer<K extends string, T>(field: K, type: WireType<T>, bytes: Buffer): Record<K, T> {
  return new StoredAnswer(field, type, bytes) as unknown as Record<K, T>
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

/**
 * The bytes of an answer that {@link storedAnswer} or {@link decodedAnswer} made, without a copy of those that it was
 * made of; undefined for all others.
 */
export function storedBytes(answer: unknown): readonly Buffer[] | undefined {
  if (typeof answer !== 'object' || answer === null) return undefined
  const bytes = StoredAnswer.bytesOf(answer)
  if (bytes !== undefined) return [new BulkWriter().uint32(tag).uint32(bytes.length).finish(), bytes]
  const encoding = encodings.get(answer)
  return encoding && [encoding]
}
