import { parseGrant } from '@flotilla/access'
import { type Client, createClient } from '@flotilla/client'
import { addClient, addNode, type IdentityFiles, initDirectory } from '@flotilla/pki'
import { freePort, type TempWorld, tempWorld } from '@flotilla/testing'
import { runCtr } from '../harness/ctr.ts'
import { nothingMentions } from '../harness/leftovers.ts'
import { startStandalone } from '../harness/standalone.ts'
import type { System } from '../harness/system.ts'
import { debian12 } from '../harness/versions.ts'

/** A node that serves an endpoint, with the authority that makes certificates for it. */
export interface Endpoint extends AsyncDisposable {
  readonly system: System
  readonly world: TempWorld
  readonly address: string
  /** Makes a client's certificate. */
  certificate(name: string, grants: readonly string[], days?: number): Promise<IdentityFiles>
  /** A client with a certificate of its own. */
  client(name: string, grants: readonly string[], namespace?: string): Promise<Client>
  /** Runs ctr at the node's socket and wants success. */
  ctr(namespace: string, ...args: string[]): Promise<string>
}

export async function startEndpoint(): Promise<Endpoint> {
  const world = await tempWorld({ tmpfs: true, name: 'e2e-endpoint' })
  await using stack = new AsyncDisposableStack()
  stack.defer(async () => {
    await world[Symbol.asyncDispose]()
    await nothingMentions(world.path)
  })
  const pki = world.join('pki')
  await initDirectory(pki, { name: 'test', days: 2 })
  const { ca, cert, key } = await addNode(pki, { name: 'here', addresses: [], days: 1 })
  const address = `127.0.0.1:${await freePort()}`
  const flags = ['--node-name', 'here', '--endpoint', address, '--ca', ca, '--cert', cert, '--key', key]
  const system = stack.use(await startStandalone(world, flags))
  let made = 0
  const endpoint: Omit<Endpoint, typeof Symbol.asyncDispose> = {
    system,
    world,
    address,
    certificate: (name, grants, days = 1) =>
      addClient(pki, { name: `${name}-${++made}`, grants: grants.map(parseGrant), days }),
    async client(name, grants, namespace = 'default') {
      const files = await endpoint.certificate(name, grants)
      return createClient({
        address,
        namespace,
        tls: { caFile: files.ca, certFile: files.cert, keyFile: files.key },
      })
    },
    async ctr(namespace, ...args) {
      const { code, stdout, stderr } = await runCtr({ address: system.address, version: debian12, namespace, args })
      if (code !== 0) throw new Error(`ctr ${args.join(' ')} ended with ${code}: ${stderr}`)
      return stdout
    },
  }
  const owned = stack.move()
  return { ...endpoint, [Symbol.asyncDispose]: () => owned.disposeAsync() }
}
