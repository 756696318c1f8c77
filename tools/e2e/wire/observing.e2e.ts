import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { ImagesDefinition } from '@flotilla/api/containerd/services/images/v1/images'
import { exchange, tempWorld, until } from '@flotilla/testing'
import { afterAll, describe, expect, test } from 'vitest'
import { callIn, connectTo, refusalOf } from '../harness/clients.ts'
import { runCtr } from '../harness/ctr.ts'
import { makeFixture } from '../harness/fixture.ts'
import { startServices } from '../harness/services.ts'
import { endSharedImage, sharedImage } from '../harness/shared-image.ts'
import { startStandalone } from '../harness/standalone.ts'
import { type System, underTest } from '../harness/system.ts'
import { debian12 } from '../harness/versions.ts'

interface Line {
  readonly msg: string
  readonly name: string
  readonly level: string
  readonly metrics?: string
  readonly service?: string
  readonly method?: string
  readonly namespace?: string
  readonly duration?: number
  readonly code?: string
  readonly error?: string
}

const textOf = (system: System) => system.logs.map((log) => readFileSync(log, 'utf8')).join('\n')

function linesOf(system: System): Line[] {
  const lines = textOf(system).split('\n')
  return lines.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line) as Line)
}

/** How many processes a call to the gateway passes, each of which logs and counts it. */
const passed = underTest === 'services' ? ['images', 'gateway'] : ['standalone']

describe('whoever operates it', () => {
  afterAll(endSharedImage)
  test('finds each request once in the log and in the metrics of each process that it passed', async () => {
    await using world = await tempWorld({ tmpfs: true, name: 'e2e' })
    const start = underTest === 'services' ? startServices : startStandalone
    await using system = await start(world, ['--metrics-address', '127.0.0.1:0'])
    using clients = connectTo(system.address)
    const images = clients.of(ImagesDefinition)
    for (const name of ['a', 'b', 'c'])
      expect(await refusalOf(images.get({ name }, callIn('observed')))).toMatchObject({ code: 5 })
    await images.list({ filters: [] }, callIn('observed'))

    const said = await until('the log to tell of four requests', () => {
      const lines = linesOf(system).filter(({ namespace, msg }) => namespace === 'observed' && msg === 'request')
      return lines.length === 4 * passed.length && lines
    })
    for (const name of passed) {
      const of = said.filter((line) => line.name === name)
      expect(of.map(({ method, code, error }) => [method, code, error])).toEqual([
        ['Get', 'NOT_FOUND', 'image "a": not found'],
        ['Get', 'NOT_FOUND', 'image "b": not found'],
        ['Get', 'NOT_FOUND', 'image "c": not found'],
        ['List', 'OK', undefined],
      ])
      for (const line of of)
        expect(line).toMatchObject({
          level: 'debug',
          service: 'containerd.services.images.v1.Images',
          duration: expect.any(Number),
        })
    }

    const ready = linesOf(system).filter(({ msg }) => msg === 'ready')
    expect(ready.map(({ metrics }) => metrics)).not.toContain(undefined)
    for (const { name, metrics } of ready) {
      const { status, body } = await exchange(`http://${metrics}/metrics`)
      expect(status).toBe(200)
      const text = body.toString()
      expect(text).toMatch(/^process_resident_memory_bytes \d/m)
      const labels = (code: string, method: string) =>
        `grpc_service="containerd.services.images.v1.Images",grpc_method="${method}",grpc_code="${code}"`
      const has = passed.includes(name)
      expect(text.includes(`grpc_server_handled_total{${labels('NotFound', 'Get')}} 3\n`)).toBe(has)
      expect(text.includes(`grpc_server_handling_seconds_count{${labels('NotFound', 'Get')}} 3\n`)).toBe(has)
    }
  })

  test('finds how many tasks and blobs there are', async () => {
    await using world = await tempWorld({ tmpfs: true, name: 'e2e' })
    const start = underTest === 'services' ? startServices : startStandalone
    await using system = await start(world, ['--metrics-address', '127.0.0.1:0'])
    const fixture = await makeFixture(system, debian12, world)
    const { namespace, ctr, pull } = fixture
    const reference = await pull()
    await ctr('run', '-d', reference, 'one', 'sleep', '1000')
    await ctr('run', '-d', reference, 'two', 'sleep', '1000')
    await ctr('tasks', 'pause', 'two')
    const text = await scraped(system)
    const blobs = (await sharedImage()).image.blobs.length
    expect(text).toContain(`flotilla_content_blobs{namespace="${namespace}"} ${blobs}\n`)
    expect(text).toContain(`flotilla_content_ingests{namespace="${namespace}"} 0\n`)
    expect(text).toMatch(/^flotilla_content_free_bytes [1-9]/m)
    expect(text).toContain(`flotilla_tasks{namespace="${namespace}",status="running"} 1\n`)
    expect(text).toContain(`flotilla_tasks{namespace="${namespace}",status="paused"} 1\n`)
    await fixture.finish()
    expect(await scraped(system)).not.toContain('flotilla_tasks{')
  })

  test('finds no password in any log', async () => {
    await using world = await tempWorld({ tmpfs: true, name: 'e2e' })
    const start = underTest === 'services' ? startServices : startStandalone
    await using system = await start(world)
    const ctr = (...args: string[]) => runCtr({ address: system.address, version: debian12, namespace: 'n', args })
    await ctr('namespaces', 'create', 'n')
    await ctr('plugins', 'ls', '-d')
    // Embedded servers that end are spoken of, with their address.
    const processes = await system.processes()
    for (const [name, pid] of processes) if (/redis|nats/.test(name)) process.kill(pid, 'SIGKILL')
    await until(
      'them to be back',
      async () => (await ctr('images', 'ls')).code === 0 && (await ctr('tasks', 'ls')).code === 0,
    )
    const secrets = secretsOf(system)
    expect(secrets).toHaveLength(1)
    const text = textOf(system)
    for (const secret of secrets) expect(text.includes(secret)).toBe(false)
  })
})

/** What all processes of the system say of themselves. */
async function scraped(system: System): Promise<string> {
  const texts = linesOf(system).flatMap(({ metrics }) =>
    metrics === undefined ? [] : [exchange(`http://${metrics}/metrics`)],
  )
  return (await Promise.all(texts)).map(({ body }) => body.toString()).join('\n')
}

/** The passwords that the embedded servers were given; that of the metadata store is its socket's mode. */
function secretsOf({ state }: System): string[] {
  const config = readFileSync(join(state, 'nats/nats.conf'), 'utf8')
  return [...config.matchAll(/password: "([^"]+)"/g)].map(([, secret = '']) => secret)
}
