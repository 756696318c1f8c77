import { Any } from '@flotilla/api/google/protobuf/any'
import { freeMemory, invalidArgument } from '@flotilla/rpc'
import { nameOf, pack, unpackAny } from './any.ts'
import type { OpenStream } from './open-stream.ts'
import { data, windowUpdate } from './types.ts'

/** Bytes in one message; clients have buffers of this size. */
const pieceSize = 32 * 1024

/** Bytes that a sender may be ahead of us. */
const windowSize = 1024 * 1024

/** The bytes that a client sends, as fast as they are taken. Leaving early closes the stream. */
export async function* receiveBytes(stream: OpenStream): AsyncGenerator<Buffer> {
  let granted = 0
  try {
    for (;;) {
      if (granted < windowSize / 2) {
        const update = windowSize - granted
        await stream.send(pack(windowUpdate, { update }))
        granted += update
      }
      const message = await stream.receive()
      if (message === undefined) return
      const { data: bytes } = unpackAny(data, message)
      granted -= bytes.length
      if (bytes.length > 0) yield Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    }
  } finally {
    stream.close()
  }
}

function dataOf({ rooms }: OpenStream, bytes: Buffer): Any {
  if (rooms === undefined) return pack(data, { data: bytes })
  return rooms.wrapped(Any, { typeUrl: data.name }, ['value', 2], 1, bytes)
}

/** Sends bytes to a client, as fast as it grants room for them, and closes the stream. Their memory is freed. */
export async function sendBytes(stream: OpenStream, source: AsyncIterable<Buffer>): Promise<void> {
  let room = 0
  try {
    for await (const bytes of source) {
      for (let at = 0; at < bytes.length; ) {
        while (room <= 0) {
          const message = await stream.receive()
          if (message === undefined) throw invalidArgument('the client stopped taking bytes')
          if (nameOf(message) === windowUpdate.name) room += unpackAny(windowUpdate, message).update
        }
        const piece = bytes.subarray(at, at + Math.min(pieceSize, room))
        await stream.send(dataOf(stream, piece))
        room -= piece.length
        at += piece.length
      }
      freeMemory(bytes)
    }
  } finally {
    stream.close()
  }
}
