import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { promisify } from 'node:util'
import { makeCertificate } from './certificate.ts'
import { type Exchange, type ExchangeOptions, exchange } from './http-exchange.ts'
import { freePort } from './ports.ts'
import { withWorld } from './redis.ts'
import { type ServerProcess, startServer } from './server-process.ts'
import { type TempWorld, tempWorld } from './temp-world.ts'
import { startTokenServer, type TokenServer, tokenIssuer } from './token-server.ts'

export interface RegistryOptions {
  /** `basic`: user and password; `token`: bearer tokens from a server of our own. Open to all unless given. */
  readonly auth?: 'basic' | 'token'
  /** The token server knows only GET. */
  readonly tokensByGet?: boolean
  /** HTTPS with a certificate that signs itself ({@link TestRegistry.caFile}). */
  readonly tls?: boolean
  /** The address to listen on; 127.0.0.1 unless given. */
  readonly address?: string
}

/** Debian's docker-registry with private storage. */
export interface TestRegistry extends ServerProcess {
  /** HOST:PORT, as in an image reference. */
  readonly host: string
  readonly url: string
  readonly username: string
  readonly password: string
  /** What the token server takes in their place. */
  readonly refreshToken: string
  readonly caFile: string | undefined
  /** The token server, when `auth` is `token`. */
  readonly tokens: TokenServer | undefined
  /** One authorized exchange; the path begins with `/v2/`. */
  request(path: string, options?: ExchangeOptions): Promise<Exchange>
}

const username = 'skipper'
const password = 'open sesame'
const refreshToken = 'long-lived'
const service = 'flotilla-test-registry'

async function authorization(world: TempWorld, { auth: kind, tokensByGet: onlyGet }: RegistryOptions) {
  if (kind === 'basic') {
    const { stdout } = await promisify(execFile)('htpasswd', ['-Bbn', username, password])
    await writeFile(world.join('users'), stdout)
    return { config: { htpasswd: { realm: 'test', path: world.join('users') } }, tokens: undefined }
  }
  if (kind === 'token') {
    const certificate = await makeCertificate(world.path, 'token')
    const tokens = world.own(
      await startTokenServer({ certificate, service, username, password, refreshToken, onlyGet }),
    )
    const token = { realm: tokens.realm, service, issuer: tokenIssuer, rootcertbundle: certificate.certFile }
    return { config: { token }, tokens }
  }
  return { config: undefined, tokens: undefined }
}

/** Starts a registry on a port of its own. */
export async function startRegistry(options: RegistryOptions = {}): Promise<TestRegistry> {
  const world = await tempWorld({ name: 'registry' })
  try {
    return await startRegistryIn(world, options)
  } catch (error) {
    await world[Symbol.asyncDispose]()
    throw error
  }
}

async function startRegistryIn(world: TempWorld, options: RegistryOptions): Promise<TestRegistry> {
  const { config: auth, tokens } = await authorization(world, options)
  const address = options.address ?? '127.0.0.1'
  const certificate = options.tls ? await makeCertificate(world.path, 'registry', address) : undefined
  const host = `${address}:${await freePort(address)}`
  const url = `${certificate ? 'https' : 'http'}://${host}`
  const tls = certificate ? { certificate: certificate.certFile, key: certificate.keyFile } : undefined
  // YAML reads JSON.
  const config = {
    version: '0.1',
    log: { level: 'warn', accesslog: { disabled: true } },
    storage: { filesystem: { rootdirectory: world.join('storage') }, delete: { enabled: true } },
    http: { addr: host, secret: 'only for one test', ...(tls ? { tls } : {}) },
    ...(auth ? { auth } : {}),
  }
  await writeFile(world.join('config.yml'), JSON.stringify(config))

  const credentials = (path: string): Record<string, string> => {
    if (tokens !== undefined) {
      const repository = /^\/v2\/(.+)\/(?:blobs|manifests|tags)\//.exec(path)?.[1]
      return { authorization: `Bearer ${tokens.mint(`repository:${repository ?? ''}:pull,push`)}` }
    }
    const basic = Buffer.from(`${username}:${password}`).toString('base64')
    return options.auth === 'basic' ? { authorization: `Basic ${basic}` } : {}
  }
  const request = (path: string, init: ExchangeOptions = {}) =>
    exchange(`${url}${path}`, { ...init, headers: { ...credentials(path), ...init.headers }, ca: certificate?.cert })

  const server = await startServer({
    command: 'docker-registry',
    args: ['serve', world.join('config.yml')],
    log: world.join('registry.log'),
    // Debian's start-up environment may set REGISTRY_… variables; the file alone counts.
    env: { OTEL_TRACES_EXPORTER: 'none' },
    ready: async () => (await request('/v2/')).status === 200,
  })
  const given = { host, url, username, password, refreshToken, caFile: certificate?.certFile, tokens, request }
  return withWorld(server, world, given)
}
