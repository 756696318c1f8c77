import type { MethodDefinition } from './service.ts'

/** How a method's messages go to and from the wire, in grpc-js's words. */
export interface Codec {
  requestSerialize: (value: unknown) => Buffer
  requestDeserialize: (bytes: Buffer) => unknown
  responseSerialize: (value: unknown) => Buffer
  responseDeserialize: (bytes: Buffer) => unknown
}

/** Messages as their generated types say. */
export function typedCodec(method: MethodDefinition): Codec {
  return {
    requestSerialize: (value) => bufferOf(method.requestType.encode(value).finish()),
    requestDeserialize: (bytes) => method.requestType.decode(bytes),
    responseSerialize: (value) => bufferOf(method.responseType.encode(value).finish()),
    responseDeserialize: (bytes) => method.responseType.decode(bytes),
  }
}

/** Messages that stay bytes. */
export const rawCodec: Codec = {
  requestSerialize: (value) => value as Buffer,
  requestDeserialize: (bytes) => bytes,
  responseSerialize: (value) => value as Buffer,
  responseDeserialize: (bytes) => bytes,
}

/** The same bytes, not a copy of them. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
