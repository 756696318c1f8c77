import type { Any } from '@flotilla/api/google/protobuf/any'

interface Codec<P, M> {
  fromPartial(object: P): M
  encode(message: M): { finish(): Uint8Array }
}

/** A message as an Any, under its full name. */
export function anyOf<P, M>(name: string, codec: Codec<P, M>, message: P): Any {
  return { typeUrl: name, value: Buffer.from(codec.encode(codec.fromPartial(message)).finish()) }
}
