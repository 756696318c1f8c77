import { randomBytes } from 'node:crypto'
import { CreateContainerRequest } from '@flotilla/api/containerd/services/containers/v1/containers'
import { ReadContentResponse, WriteContentRequest } from '@flotilla/api/containerd/services/content/v1/content'
import { expect, it } from 'vitest'
import { BulkWriter } from './bulk-writer.ts'

it.each([0, 1, 4095, 4096, 100_000])('writes %i bytes as the library does', (size) => {
  const data = randomBytes(size)
  const read = ReadContentResponse.fromPartial({ offset: 5_000_000_000, data })
  expect(Buffer.from(ReadContentResponse.encode(read, new BulkWriter()).finish())).toEqual(
    Buffer.from(ReadContentResponse.encode(read).finish()),
  )
  // Labels come after the bytes.
  const write = WriteContentRequest.fromPartial({ ref: 'ref', data, labels: { a: 'b' } })
  expect(Buffer.from(WriteContentRequest.encode(write, new BulkWriter()).finish())).toEqual(
    Buffer.from(WriteContentRequest.encode(write).finish()),
  )
  const nested = CreateContainerRequest.fromPartial({ container: { id: 'a', spec: { typeUrl: 't', value: data } } })
  expect(Buffer.from(CreateContainerRequest.encode(nested, new BulkWriter()).finish())).toEqual(
    Buffer.from(CreateContainerRequest.encode(nested).finish()),
  )
})
