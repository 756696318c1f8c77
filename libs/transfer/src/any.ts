import type { Any } from '@flotilla/api/google/protobuf/any'
import { encoded, invalidArgument, type WireType } from '@flotilla/rpc'

/** A message type with the name that it has in an Any. */
export interface NamedType<T> {
  readonly name: string
  readonly type: WireType<T>
}

/** The message's name: what follows the last slash of the URL, if there is one. */
export function nameOf(any: Any): string {
  return any.typeUrl.slice(any.typeUrl.lastIndexOf('/') + 1)
}

/** Clients written in Go expect the bare name. */
export function pack<T>({ name, type }: NamedType<T>, message: T): Any {
  return { typeUrl: name, value: encoded(type, message) }
}

/** @throws INVALID_ARGUMENT when it holds another message, or bytes that are none. */
export function unpackAny<T>({ name, type }: NamedType<T>, any: Any): T {
  if (nameOf(any) !== name) throw invalidArgument(`wanted ${name}, got "${any.typeUrl}"`)
  try {
    return type.decode(any.value)
  } catch (error) {
    throw invalidArgument(`${name} cannot be read: ${error instanceof Error ? error.message : error}`, { cause: error })
  }
}
