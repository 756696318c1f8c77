import { truncate } from 'node:fs/promises'
import { Namespace } from '@flotilla/api/containerd/services/namespaces/v1/namespaces'
import { encode, tables } from '@flotilla/metadata'
import { makeCall, status } from '@flotilla/rpc'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { ContentService } from './index.ts'
import { begin, blobFiles, digestOf, put, read, storeDirectory } from './testing/blobs.ts'
import { type ContentWorld, contentWorld } from './testing/world.ts'

describe('under policy isolated', () => {
  let world: ContentWorld
  let service: ContentService
  const owner = makeCall({ namespace: 'owner' })
  const other = makeCall({ namespace: 'other' })
  const label = async (value: string) => {
    const record = Namespace.fromPartial({ name: 'owner', labels: { 'containerd.io/namespace.shareable': value } })
    await world.metadata.transact('owner', {
      writes: [{ op: 'set', table: tables.namespace, field: 'record', value: encode(Namespace, record) }],
    })
  }
  beforeAll(async () => {
    world = await contentWorld()
    service = await world.open({ policy: () => 'isolated' })
  })
  afterAll(async () => {
    await service?.[Symbol.asyncDispose]()
    await world?.[Symbol.asyncDispose]()
  })

  test('the bytes have to be brought, and are then the same file', async () => {
    const digest = await put(service.content, owner, 'secret')
    expect(await begin(service.content, other, 'r', '', digest)).toMatchObject({ offset: 0 })
    await expect(read(service.content, other, digest)).rejects.toMatchObject({ code: status.NOT_FOUND })
    await put(service.content, other, 'secret', 'r')
    expect(String(await read(service.content, other, digest))).toBe('secret')
    expect(await blobFiles(world.root)).toEqual([digest])
  })

  test('a blob file that somebody cut short is replaced by the bytes that are brought', async () => {
    const digest = await put(service.content, owner, 'was whole')
    const path = storeDirectory(world.root, 'blobs', 'sha256', digest.slice('sha256:'.length))
    await truncate(path, 3)
    await put(service.content, other, 'was whole')
    for (const call of [owner, other]) expect(String(await read(service.content, call, digest))).toBe('was whole')
    await truncate(path, 3)
    await expect(read(service.content, owner, digest)).rejects.toMatchObject({ code: status.DATA_LOSS })
    await service.content.delete({ digest }, owner)
    await service.content.delete({ digest }, other)
    await service.blobs.sweep({ digests: [digest] }, makeCall())
  })

  test('content of a namespace labelled shareable may be adopted, by the value "true" only', async () => {
    const digest = await put(service.content, owner, 'public')
    await label('yes')
    expect(await begin(service.content, other, 'r', '', digest)).toMatchObject({ offset: 0 })
    await label('true')
    expect(await begin(service.content, other, 'r', '', digest)).toMatchObject({ offset: 6, digest })
    expect(await begin(service.content, other, 'r', '', digestOf('elsewhere'))).toMatchObject({ offset: 0 })
  })
})
