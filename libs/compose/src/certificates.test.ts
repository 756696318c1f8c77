import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { appendFile, copyFile, rename, writeFile } from 'node:fs/promises'
import { type TLSSocket, connect as tlsConnect } from 'node:tls'
import { HealthDefinition } from '@flotilla/api/grpc/health/v1/health'
import { loadConfig } from '@flotilla/config'
import { createHealthService } from '@flotilla/health'
import { createLogger } from '@flotilla/log'
import { addClient, addNode, initDirectory, revoke } from '@flotilla/pki'
import { clientOf, connect, createRpcServer, makeCall, readTlsIdentity, status } from '@flotilla/rpc'
import { tempWorld, until } from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { createNetwork } from './network.ts'

const grants = [{ namespace: '*', verbs: ['read'] as const }]

/** A process with a certificate and a list of revoked ones, and clients of it. */
async function world() {
  const owned = new AsyncDisposableStack()
  const temp = owned.use(await tempWorld({ name: 'certificates', tmpfs: true }))
  const pki = temp.join('pki')
  await initDirectory(pki, { name: 'test', days: 2 })
  const node = async (dir: string) => await addNode(dir, { name: 'a', addresses: ['127.0.0.1'], days: 1 })
  const files = await node(pki)
  const list = temp.join('pki/revoked')
  await writeFile(list, '# none yet\n')
  const config = loadConfig({
    overrides: {
      'cluster.ca': files.ca,
      'cluster.cert': files.cert,
      'cluster.key': files.key,
      'cluster.revoked': list,
    },
  })
  const network = owned.use(createNetwork(config, createLogger({ level: 'fatal', name: 'certificates-test' })))
  const server = createRpcServer()
  server.add(HealthDefinition, createHealthService())
  owned.defer(() => server.close(0))
  const address = await network.listen(server, '127.0.0.1:0')
  return {
    pki,
    list,
    files,
    network,
    address,
    /** Issues a certificate of the node with the same authority, which takes no place yet. */
    async renewed() {
      const dir = temp.join('renewed')
      await initDirectory(dir, { name: 'other', days: 1 })
      for (const name of ['ca.crt', 'ca.key']) await copyFile(`${pki}/${name}`, `${dir}/${name}`)
      return await node(dir)
    },
    async client(name: string) {
      const identity = readTlsIdentity(await addClient(pki, { name, grants, days: 1 }))
      const channel = connect(address, { tls: identity })
      owned.defer(() => channel.close())
      return { health: clientOf(HealthDefinition, channel), identity }
    },
    /** The serial number of what the server shows a new connection. */
    async shown(identity: { ca: string; cert: string; key: string }) {
      const [host, port] = address.split(':')
      const socket: TLSSocket = tlsConnect({ ...identity, host, port: Number(port), servername: 'a' })
      await once(socket, 'secureConnect')
      const { serialNumber } = socket.getPeerCertificate()
      socket.destroy()
      return serialNumber
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  }
}

const serialOf = ({ cert }: { cert: string }) => new X509Certificate(cert).serialNumber

describe('certificates that change', () => {
  it('renewed, are shown to new connections, in both directions, while calls go on', async () => {
    await using w = await world()
    const { health, identity } = await w.client('alice')
    const ended = new AbortController()
    const watching = health.watch({ service: '' }, makeCall({ signal: ended.signal }))[Symbol.asyncIterator]()
    expect((await watching.next()).value).toEqual({ status: 1 })
    const before = await w.shown(identity)
    expect(before).toBe(serialOf(readTlsIdentity(w.files)))

    const renewed = await w.renewed()
    // A key without its certificate is what a node sees in the middle of a renewal.
    await rename(renewed.key, w.files.key)
    w.network.tls?.look()
    expect(await w.shown(identity)).toBe(before)
    await rename(renewed.cert, w.files.cert)
    const after = serialOf(readTlsIdentity(w.files))
    await until('the new certificate to be shown', async () => (await w.shown(identity)) === after)

    const next = watching.next()
    expect(await health.check({ service: '' }, makeCall())).toEqual({ status: 1 })
    ended.abort()
    await expect(next).rejects.toMatchObject({ code: status.CANCELLED })
    // As a client it shows the new one too.
    const channel = w.network.connect(w.address)
    expect(await clientOf(HealthDefinition, channel).check({ service: '' }, makeCall())).toEqual({ status: 1 })
  })

  it('revoked, are refused at the next call, also over connections that are open; others are not', async () => {
    await using w = await world()
    const [alice, bob] = [await w.client('alice'), await w.client('bob')]
    for (const { health } of [alice, bob])
      expect(await health.check({ service: '' }, makeCall())).toEqual({ status: 1 })
    const { serial } = await revoke(w.pki, 'alice')
    expect(await revoke(w.pki, 'alice')).toEqual({ serial, list: w.list })
    await until('alice to be refused', async () => {
      const refusal = await alice.health.check({ service: '' }, makeCall()).catch((error: unknown) => error)
      return refusal instanceof Error && refusal.message.includes(`the certificate ${serial} is revoked`)
    })
    await expect(alice.health.check({ service: '' }, makeCall())).rejects.toMatchObject({
      code: status.UNAUTHENTICATED,
    })
    expect(await bob.health.check({ service: '' }, makeCall())).toEqual({ status: 1 })

    // A list that cannot be read lets nobody in again.
    await appendFile(w.list, 'who knows\n')
    w.network.tls?.look()
    await expect(alice.health.check({ service: '' }, makeCall())).rejects.toMatchObject({
      code: status.UNAUTHENTICATED,
    })
  })

  it('a server whose certificate is revoked is not talked to', async () => {
    await using w = await world()
    await revoke(w.pki, 'a')
    w.network.tls?.look()
    const client = clientOf(HealthDefinition, w.network.connect(w.address))
    await expect(client.check({ service: '' }, makeCall({ timeout: 5_000 }))).rejects.toMatchObject({
      message: expect.stringContaining('the certificate of 127.0.0.1 is revoked'),
    })
  })
})
