import { readFile } from 'node:fs/promises'
import { connect as netConnect } from 'node:net'
import { connect as tlsConnect } from 'node:tls'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { type Client, createClient } from '@flotilla/client'
import { createAuthority, issueClient, issueNode } from '@flotilla/pki'
import { clientOf, connect, makeCall } from '@flotilla/rpc'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refusalOf } from '../harness/clients.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'

const everything = ['*:read,write,exec,admin']

describe('the endpoint lets in', () => {
  let endpoint: Endpoint
  let ca: string
  beforeAll(async () => {
    endpoint = await startEndpoint()
    ca = await readFile((await endpoint.certificate('any', [])).ca, 'utf8')
  })
  afterAll(() => endpoint[Symbol.asyncDispose]())

  const list = async (client: Client) => {
    using open = client
    return await refusalOf(open.images.list({}, { timeout: 5_000 }))
  }

  it('who shows a certificate of its authority', async () => {
    using client = await endpoint.client('admin', everything)
    expect(await client.images.list({})).toEqual({ images: [] })
  })

  it('nobody without TLS', async () => {
    const channel = connect(endpoint.address)
    const call = makeCall({ namespace: 'default', timeout: 5_000 })
    expect(await refusalOf(clientOf(ImagesDefinition, channel).list({ filters: [] }, call))).toMatchObject({ code: 14 })
    channel.close()
    const [host, port] = endpoint.address.split(':')
    const socket = netConnect(Number(port), host)
    socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    const answer: Buffer[] = []
    for await (const piece of socket) answer.push(piece as Buffer)
    // A TLS alert at most.
    expect(Buffer.concat(answer).length).toBeLessThan(16)
  })

  it('nobody without a certificate', async () => {
    const [host, port] = endpoint.address.split(':')
    const socket = tlsConnect({ host, port: Number(port), ca, ALPNProtocols: ['h2'], servername: 'localhost' })
    const ended = new Promise<Error>((resolve) => {
      socket.once('error', resolve)
      socket.once('close', () => resolve(new Error('closed')))
    })
    // With TLS 1.3 the client's side of the handshake is done before the server has refused.
    socket.once('secureConnect', () => socket.write('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'))
    expect((await ended).message).toMatch(/certificate required|closed|ECONNRESET/)
  })

  it('nobody with a certificate of another authority, even of the same name', async () => {
    const other = await createAuthority({ name: 'test', days: 1 })
    const grants = [{ namespace: '*', verbs: ['read', 'write', 'exec', 'admin'] as const }]
    const stranger = await issueClient(other, { name: 'stranger', grants, days: 1 })
    expect(await list(createClient({ address: endpoint.address, tls: { ca, ...stranger } }))).toMatchObject({
      code: 14,
    })
    const node = await issueNode(other, { name: 'here', addresses: [], days: 1 })
    expect(await list(createClient({ address: endpoint.address, tls: { ca, ...node } }))).toMatchObject({ code: 14 })
  })

  it('nobody whose certificate has expired', async () => {
    const { ca: caFile, cert, key } = await endpoint.certificate('late', everything, -1)
    const client = createClient({ address: endpoint.address, tls: { caFile, certFile: cert, keyFile: key } })
    expect(await list(client)).toMatchObject({ code: 14 })
  })

  it('nobody with the certificate of one and the key of another', async () => {
    const [one, two] = [await endpoint.certificate('one', everything), await endpoint.certificate('two', [])]
    const mixed = { caFile: one.ca, certFile: one.cert, keyFile: two.key }
    expect(() => createClient({ address: endpoint.address, tls: mixed })).toThrow(/key values mismatch/i)
  })

  it('and is itself refused by a client that trusts another authority', async () => {
    const other = await createAuthority({ name: 'test', days: 1 })
    const { cert, key } = await endpoint.certificate('careful', everything)
    const [certText, keyText] = await Promise.all([readFile(cert, 'utf8'), readFile(key, 'utf8')])
    const client = createClient({ address: endpoint.address, tls: { ca: other.cert, cert: certText, key: keyText } })
    expect(await list(client)).toMatchObject({ code: 14 })
  })
})
