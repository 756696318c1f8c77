import { createHash } from 'node:crypto'
import { rules } from '@flotilla/access'
import { type Client, hasCode, status, subscribe } from '@flotilla/client'
import { parts } from '@flotilla/compose'
import { callRaw, connect, makeCall, methodsOf, readTlsIdentity } from '@flotilla/rpc'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refusalOf } from '../harness/clients.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'

const denied = { code: status.PERMISSION_DENIED }
const image = (name: string) => ({
  image: { name, target: { mediaType: 'text/plain', digest: `sha256:${'a'.repeat(64)}`, size: 1 } },
})

describe('a certificate', () => {
  let endpoint: Endpoint
  /** May do everything in `mine`, and nothing elsewhere. */
  let mine: Client
  beforeAll(async () => {
    endpoint = await startEndpoint()
    mine = await endpoint.client('mine', ['mine:read,write,exec,admin'], 'mine')
    using admin = await endpoint.client('admin', ['*:read,write,exec,admin'])
    for (const name of ['mine', 'theirs']) await admin.namespaces.create({ namespace: { name } })
    await admin.images.create(image('secret'), { namespace: 'theirs' })
  })
  afterAll(async () => {
    mine?.close()
    await endpoint[Symbol.asyncDispose]()
  })

  it('of one namespace is refused by every method in another', async () => {
    const { ca, cert, key } = await endpoint.certificate('probe', ['mine:read,write,exec,admin'])
    const channel = connect(endpoint.address, { tls: readTlsIdentity({ ca, cert, key }) })
    const nothing = async function* () {
      yield Buffer.alloc(0)
    }
    const codes = new Map<string, number>()
    for (const definition of parts.flatMap((part) => part.serves))
      for (const [, { name }] of methodsOf(definition)) {
        const path = `/${definition.fullName}/${name}`
        const rule = rules[definition.fullName]?.[name] ?? ''
        if (rule === 'anyone' || rule.endsWith(' somewhere')) continue
        const call = makeCall({ namespace: 'theirs', timeout: 10_000 })
        codes.set(path, (await refusalOf(callRaw(channel, path, nothing(), call))).code)
      }
    channel.close()
    expect(codes.size).toBeGreaterThan(60)
    expect([...codes].filter(([, code]) => code !== status.PERMISSION_DENIED)).toEqual([])
  })

  it('without grants may ask for health and version, and nothing else', async () => {
    using client = await endpoint.client('nobody', [], 'mine')
    expect(await client.health.check({})).toEqual({ status: 1 })
    expect((await client.version.version({})).version).not.toBe('')
    expect(await refusalOf(client.images.list({}))).toMatchObject(denied)
    expect(await refusalOf(client.nodes.list({}))).toMatchObject(denied)
    expect(await refusalOf(client.namespaces.list({}))).toMatchObject(denied)
    expect(await refusalOf(client.eventLog.status({}))).toMatchObject(denied)
  })

  it('allows the verbs that it names and no other', async () => {
    using reader = await endpoint.client('reader', ['mine:read'], 'mine')
    using writer = await endpoint.client('writer', ['mine:write'], 'mine')
    await writer.images.create(image('verbs'))
    expect(await reader.images.get({ name: 'verbs' })).toMatchObject({ image: { name: 'verbs' } })
    expect(await refusalOf(writer.images.get({ name: 'verbs' }))).toEqual({
      ...denied,
      message: expect.stringMatching(/^"writer-\d+" may not read in namespace "mine": permission denied$/),
    })
    expect(await refusalOf(reader.images.delete({ name: 'verbs' }))).toMatchObject(denied)
    expect(await refusalOf(reader.tasks.kill({ containerId: 'x', signal: 9 }))).toMatchObject(denied)
    expect(await refusalOf(writer.diff.apply({}))).toMatchObject(denied)
    expect(await refusalOf(reader.nodes.cordon({ name: 'here' }))).toMatchObject(denied)
    expect(await refusalOf(mine.nodes.cordon({ name: 'here' }))).toMatchObject({
      message: expect.stringContaining('may not admin in the whole cluster'),
    })
    await writer.images.delete({ name: 'verbs' })
  })

  it('needs a namespace to be named where one is concerned', async () => {
    const { ca, cert, key } = await endpoint.certificate('silent', ['*:read'])
    const channel = connect(endpoint.address, { tls: readTlsIdentity({ ca, cert, key }) })
    const path = '/containerd.services.images.v1.Images/List'
    const answer = callRaw(
      channel,
      path,
      (async function* () {
        yield Buffer.alloc(0)
      })(),
      makeCall({ timeout: 10_000 }),
    )
    expect(await refusalOf(answer)).toMatchObject({ code: status.FAILED_PRECONDITION })
    channel.close()
  })

  it('shows only its own namespaces', async () => {
    expect((await mine.namespaces.list({})).namespaces.map(({ name }) => name)).toEqual(['mine'])
    expect(await mine.namespaces.get({ name: 'mine' })).toMatchObject({ namespace: { name: 'mine' } })
    expect(await refusalOf(mine.namespaces.get({ name: 'theirs' }))).toMatchObject(denied)
    expect(await refusalOf(mine.namespaces.delete({ name: 'theirs' }))).toMatchObject(denied)
    expect(
      await refusalOf(mine.namespaces.update({ namespace: { name: 'theirs', labels: { a: 'b' } } })),
    ).toMatchObject(denied)
    expect(await refusalOf(mine.namespaces.create({ namespace: { name: 'new' } }))).toMatchObject(denied)
  })

  it('shows only events of its own namespaces', async () => {
    using admin = await endpoint.client('admin', ['*:read,write'])
    await admin.images.create(image('before'), { namespace: 'theirs' })
    await admin.images.create(image('told'), { namespace: 'mine' })
    const seen: string[] = []
    for await (const event of subscribe(mine, { from: 0, follow: false })) seen.push(event.namespace)
    expect(seen.length).toBeGreaterThan(0)
    expect(new Set(seen)).toEqual(new Set(['mine']))
    const all: string[] = []
    for await (const event of subscribe(admin, { from: 0, follow: false })) all.push(event.namespace)
    expect(new Set(all)).toEqual(new Set(['mine', 'theirs']))
    for await (const envelope of mine.events.subscribe({}, { metadata: { 'flotilla-from-sequence': '0' } })) {
      expect(envelope.namespace).toBe('mine')
      break
    }
    expect(await refusalOf(mine.events.forward({ envelope: { namespace: 'theirs', topic: '/a/b' } }))).toMatchObject(
      denied,
    )
  })

  it('gives no blob of another namespace, by digest or by adoption', async () => {
    using theirs = await endpoint.client('theirs', ['theirs:read,write'], 'theirs')
    const data = Buffer.from('a secret of theirs')
    const digest = `sha256:${createHash('sha256').update(data).digest('hex')}`
    const write = async (client: Client, ref: string, bytes: Buffer) => {
      const messages = [{ action: 2 as const, ref, total: data.length, expected: digest, offset: 0, data: bytes }]
      const answers = []
      for await (const answer of client.content.write(
        (async function* () {
          yield* messages
        })(),
      ))
        answers.push(answer)
      return answers
    }
    await write(theirs, 'one', data)
    expect((await theirs.content.info({ digest })).info?.size).toBe(data.length)
    expect(await refusalOf(mine.content.info({ digest }))).toMatchObject({ code: status.NOT_FOUND })
    expect(await refusalOf(mine.content.read({ digest, offset: 0, size: 0 }))).toMatchObject({ code: status.NOT_FOUND })
    expect(await refusalOf(mine.content.read({ digest, offset: 0, size: 0 }, { namespace: 'theirs' }))).toMatchObject(
      denied,
    )
    // Whoever is at the socket may adopt it by its digest alone; from the network the bytes are asked for.
    const adopted = await write(mine, 'two', Buffer.alloc(0)).catch((error: unknown) => error)
    expect(hasCode(adopted, status.FAILED_PRECONDITION)).toBe(true)
    expect(await refusalOf(mine.content.read({ digest, offset: 0, size: 0 }))).toMatchObject({ code: status.NOT_FOUND })
    await write(mine, 'three', data)
    expect((await mine.content.info({ digest })).info?.size).toBe(data.length)
  })

  it('cannot be widened by metadata of our own', async () => {
    using forged = await endpoint.client('forged', ['mine:read'], 'mine')
    for (const metadata of [
      { 'flotilla-caller': 'root' },
      { 'flotilla-socket-node': 'here', 'flotilla-node-by': 'socket' },
      { 'containerd-namespace': 'theirs' },
    ]) {
      const answer = await forged.images.list({}, { metadata }).catch((error: unknown) => error)
      expect(answer instanceof Error || JSON.stringify(answer).includes('secret') === false).toBe(true)
      expect(await refusalOf(forged.images.delete({ name: 'told' }, { metadata }))).toMatchObject(denied)
    }
  })
})
