import { once } from 'node:events'
import { readFile, stat } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { createServer, type TLSSocket, connect as tlsConnect } from 'node:tls'
import { type Identity, identityOf } from '@flotilla/access'
import { tempWorld } from '@flotilla/testing'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { addClient, addNode, createAuthority, type Issued, initDirectory, issueClient, issueNode } from './index.ts'

describe('certificates', () => {
  let ca: Issued
  beforeAll(async () => {
    ca = await createAuthority({ name: 'test', days: 2 })
  })

  /** A handshake between a node and a client; what the node makes of the client. */
  async function meet(server: Issued, client: Issued, serverName = 'localhost', trusted = ca): Promise<Identity> {
    const listening = createServer({ ...server, ca: ca.cert, requestCert: true, rejectUnauthorized: true })
    listening.listen(0, '127.0.0.1')
    await once(listening, 'listening')
    const { port } = listening.address() as AddressInfo
    const refused = new Promise<never>((_, reject) => listening.once('tlsClientError', reject))
    refused.catch(() => {})
    const socket = tlsConnect({ ...client, port, host: '127.0.0.1', ca: trusted.cert, servername: serverName })
    try {
      const met = once(listening, 'secureConnection') as Promise<[TLSSocket]>
      const failed = once(socket, 'error').then(([error]) => Promise.reject(error))
      failed.catch(() => {})
      await Promise.race([once(socket, 'secureConnect'), refused, failed])
      const [accepted] = await Promise.race([met, refused])
      const identity = identityOf(accepted.getPeerCertificate())
      accepted.destroy()
      return identity
    } finally {
      socket.destroy()
      listening.close()
    }
  }

  it('of a client say its name and what it may do', async () => {
    const server = await issueNode(ca, { name: 'a', addresses: [], days: 1 })
    const grants = [
      { namespace: 'default', verbs: ['read', 'exec'] as const },
      { namespace: '*', verbs: ['read'] as const },
    ]
    const identity = await meet(server, await issueClient(ca, { name: 'alice', grants, days: 1 }))
    expect(identity).toMatchObject({ name: 'alice', node: undefined, grants })
    expect(identity.expiresAt).toBeGreaterThan(Date.now())
  })

  it('of a node say its node, and are good for both ends', async () => {
    const [a, b] = await Promise.all(
      ['a', 'b'].map((name) => issueNode(ca, { name, addresses: ['10.1.2.3'], days: 1 })),
    )
    expect(await meet(a!, b!, 'a')).toMatchObject({ name: 'b', node: 'b', grants: [] })
    expect(await meet(a!, b!, 'a')).toMatchObject({ node: 'b' })
  })

  it('serve only under their own names, and those of clients not at all', async () => {
    const [a, b] = await Promise.all(['a', 'b'].map((name) => issueNode(ca, { name, addresses: [], days: 1 })))
    const client = await issueClient(ca, { name: 'a', grants: [], days: 1 })
    await expect(meet(a!, b!, 'b')).rejects.toThrow(/altnames/)
    await expect(meet(client, b!, 'localhost')).rejects.toThrow()
  })

  it('of another authority, or expired ones, are refused', async () => {
    const server = await issueNode(ca, { name: 'a', addresses: [], days: 1 })
    const other = await createAuthority({ name: 'test', days: 2 })
    await expect(meet(server, await issueClient(other, { name: 'x', grants: [], days: 1 }))).rejects.toThrow()
    await expect(meet(server, await issueClient(ca, { name: 'x', grants: [], days: -1 }))).rejects.toThrow()
    await expect(meet(server, server, 'localhost', other)).rejects.toThrow()
  })
})

describe('the directory of an authority', () => {
  let world: Awaited<ReturnType<typeof tempWorld>>
  beforeAll(async () => {
    world = await tempWorld({ name: 'pki' })
  })
  afterAll(() => world[Symbol.asyncDispose]())

  it('gets files that only their owner can use, and never loses one', async () => {
    const dir = world.join('pki')
    const files = await initDirectory(dir, { name: 'here', days: 1 })
    expect((await stat(files.key)).mode & 0o777).toBe(0o600)
    expect((await stat(dir)).mode & 0o777).toBe(0o700)
    const before = await readFile(files.key, 'utf8')
    await expect(initDirectory(dir, { name: 'here', days: 1 })).rejects.toThrow(/ca\.key is there already/)
    expect(await readFile(files.key, 'utf8')).toBe(before)
    await addNode(dir, { name: 'a', addresses: ['a.example'], days: 1 })
    await expect(addNode(dir, { name: 'a', addresses: [], days: 1 })).rejects.toThrow(/a\.key is there already/)
    await expect(addClient(dir, { name: '../x', grants: [], days: 1 })).rejects.toThrow(/cannot be the name/)
    await expect(addClient(dir, { name: 'ca', grants: [], days: 1 })).rejects.toThrow(/cannot be the name/)
    await expect(addNode(world.join('nowhere'), { name: 'a', addresses: [], days: 1 })).rejects.toThrow(
      /no authority in/,
    )
  })
})
