import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { connect as tlsConnect } from 'node:tls'
import { promisify } from 'node:util'
import { createAuthority, type Issued, issueNode } from '@flotilla/pki'
import { freePort, startServer, type TempWorld, tempWorld } from '@flotilla/testing'
import { connect, nkeys } from 'nats'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { runCtr } from '../harness/ctr.ts'
import { nothingMentions } from '../harness/leftovers.ts'
import { startStandalone } from '../harness/standalone.ts'
import { debian12, repository } from '../harness/versions.ts'

describe('a metadata store and a message bus that want TLS and proof', () => {
  let world: TempWorld
  let redisPort: number
  let natsPort: number
  let seed: string
  const password = 'p@ss word'
  const file = (name: string) => world.join(name)

  async function save(name: string, { cert, key }: Issued): Promise<void> {
    await writeFile(file(`${name}.crt`), cert)
    await writeFile(file(`${name}.key`), key)
  }

  beforeAll(async () => {
    world = await tempWorld({ tmpfs: true, name: 'e2e-stores' })
    const ca = await createAuthority({ name: 'stores', days: 1 })
    await save('ca', ca)
    await save('other', await createAuthority({ name: 'stores', days: 1 }))
    for (const name of ['server', 'client']) await save(name, await issueNode(ca, { name, addresses: [], days: 1 }))
    ;[redisPort, natsPort] = [await freePort(), await freePort()]
    const [cert, key, authority] = [file('server.crt'), file('server.key'), file('ca.crt')]
    const identity = () => ({
      ca: readFileSync(file('ca.crt')),
      cert: readFileSync(file('client.crt')),
      key: readFileSync(file('client.key')),
    })
    /** Whether Redis asks who we are. */
    const asks = () =>
      new Promise<boolean>((resolve, reject) => {
        const options = { ...identity(), port: redisPort, host: '127.0.0.1', servername: 'localhost' }
        const socket = tlsConnect(options, () => socket.write('PING\r\n'))
        socket.once('error', reject)
        socket.once('data', (data) => {
          socket.destroy()
          resolve(data.toString().includes('NOAUTH'))
        })
      })
    const tls = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', authority]
    world.own(
      await startServer({
        command: 'redis-server',
        args: [
          '--port',
          '0',
          '--tls-port',
          String(redisPort),
          ...tls,
          '--requirepass',
          password,
          '--save',
          '',
          '--dir',
          world.path,
        ],
        log: file('redis.log'),
        ready: asks,
      }),
    )
    const user = nkeys.createUser()
    seed = new TextDecoder().decode(user.getSeed())
    await writeFile(
      file('nats.conf'),
      `listen: "127.0.0.1:${natsPort}"
jetstream { store_dir: ${JSON.stringify(file('jetstream'))} }
tls { cert_file: "${cert}", key_file: "${key}", ca_file: "${authority}", verify: true }
authorization { users: [ { nkey: ${user.getPublicKey()} }, { user: flotilla, password: ${JSON.stringify(password)} } ] }`,
    )
    world.own(
      await startServer({
        command: 'nats-server',
        args: ['--config', file('nats.conf')],
        log: file('nats.log'),
        ready: async () => {
          const tls = { caFile: file('ca.crt'), certFile: file('client.crt'), keyFile: file('client.key') }
          const connection = await connect({ servers: `127.0.0.1:${natsPort}`, user: 'flotilla', pass: password, tls })
          await connection.close()
          return true
        },
      }),
    )
  })
  afterAll(async () => {
    await world[Symbol.asyncDispose]()
    await nothingMentions(world.path)
  })

  async function configuration(
    name: string,
    changes: { redisCa?: string; redisUrl?: string; nats?: string } = {},
  ): Promise<string> {
    const secret = encodeURIComponent(password)
    const pair = `cert = "${file('client.crt')}"\nkey = "${file('client.key')}"`
    const nats =
      changes.nats ?? `url = "nats://flotilla:${secret}@127.0.0.1:${natsPort}"\nca = "${file('ca.crt')}"\n${pair}`
    await writeFile(
      file(name),
      `[redis]\nurl = "${changes.redisUrl ?? `rediss://:${secret}@127.0.0.1:${redisPort}`}"\nca = "${changes.redisCa ?? file('ca.crt')}"\n${pair}\n[nats]\n${nats}\n`,
    )
    return file(name)
  }

  it.each(['user and password', 'an nkey'])('have it with %s', async (how) => {
    const pair = `cert = "${file('client.crt')}"\nkey = "${file('client.key')}"`
    await writeFile(file('seed'), `${seed}\n`)
    const withSeed = `url = "tls://127.0.0.1:${natsPort}"\nca = "${file('ca.crt')}"\n${pair}\ncredentials = "${file('seed')}"`
    const config = await configuration('good.toml', how === 'an nkey' ? { nats: withSeed } : {})
    await using own = await tempWorld({ tmpfs: true, name: 'e2e-stores' })
    await using system = await startStandalone(own, ['--config', config])
    const ctr = (...args: string[]) => runCtr({ address: system.address, version: debian12, args })
    expect(await ctr('namespaces', 'create', 'kept')).toMatchObject({ code: 0 })
    expect((await ctr('namespaces', 'ls', '-q')).stdout).toContain('kept')
    expect((await ctr('tasks', 'ls', '-q')).code).toBe(0)
    await ctr('namespaces', 'rm', 'kept')
  })

  it.each([
    ['another authority of Redis', { redisCa: 'other.crt' }, /metadata store/],
    ['no password of Redis', { redisUrl: 'rediss://127.0.0.1:PORT' }, /NOAUTH|metadata store/],
    ['no TLS to Redis', { redisUrl: 'redis://127.0.0.1:PORT' }, /metadata store/],
    ['no TLS to NATS', { nats: 'url = "nats://127.0.0.1:NATS"' }, /message bus/],
  ])('have nothing with %s: the process says so and ends', async (_, changes, message) => {
    const config = await configuration('bad.toml', {
      ...('redisCa' in changes ? { redisCa: file(changes.redisCa as string) } : {}),
      ...('redisUrl' in changes ? { redisUrl: (changes.redisUrl as string).replace('PORT', String(redisPort)) } : {}),
      ...('nats' in changes ? { nats: (changes.nats as string).replace('NATS', String(natsPort)) } : {}),
    })
    await using own = await tempWorld({ tmpfs: true, name: 'e2e-stores' })
    const args = [
      '--config',
      config,
      '--root',
      own.join('root'),
      '--state',
      own.join('state'),
      '-a',
      own.join('s.sock'),
    ]
    const started = promisify(execFile)(join(repository, 'tools/standalone'), args, {
      timeout: 60_000,
      killSignal: 'SIGKILL',
    })
    const failure = (await started.catch((error: unknown) => error)) as { code?: number; stderr?: string }
    expect(failure.code).toBe(1)
    expect(failure.stderr).toMatch(message)
  })
})
