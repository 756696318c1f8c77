import { BulkWriter } from './bulk-writer.ts'
import type { MethodDefinition, WireType } from './service.ts'
import { storedBytes } from './stored-answer.ts'

/** How a method's messages go to and from the wire, in grpc-js's words. */
export interface Codec {
  requestSerialize: (value: unknown) => Buffer
  requestDeserialize: (bytes: Buffer) => unknown
  /** As pieces where the larger part is at hand. */
  responseSerialize: (value: unknown) => Buffer | readonly Buffer[]
  responseDeserialize: (bytes: Buffer) => unknown
}

/** Messages as their generated types say. */
export function typedCodec(method: MethodDefinition): Codec {
  return {
    requestSerialize: (value) => encoded(method.requestType, value),
    requestDeserialize: (bytes) => method.requestType.decode(bytes),
    responseSerialize: (value) => storedBytes(value) ?? encoded(method.responseType, value),
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

/** A message in protobuf; large fields are copied once. */
export function encoded<T>(type: WireType<T>, message: T): Buffer {
  return type.encode(message, new BulkWriter()).finish() as Buffer
}
