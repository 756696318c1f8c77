import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { Status } from '@flotilla/api/containerd/v1/types/types'
import { type Client, exec, run } from '@flotilla/client'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { refusalOf } from '../harness/clients.ts'
import { runFlotilla } from '../harness/flotilla.ts'
import { endSharedImage, sharedImage } from '../harness/shared-image.ts'
import { type Endpoint, startEndpoint } from './endpoint.ts'

describe('work through the endpoint', () => {
  let endpoint: Endpoint
  let client: Client
  let image: string
  beforeAll(async () => {
    endpoint = await startEndpoint()
    client = await endpoint.client('team', ['default:read,write,exec'])
    image = (await sharedImage()).reference
    await endpoint.ctr('default', 'images', 'pull', '--plain-http', image)
  })
  afterAll(async () => {
    client?.close()
    await endpoint[Symbol.asyncDispose]()
    await endSharedImage()
  })

  it('runs a container with its streams, and says where', async () => {
    const args = ['sh', '-c', 'echo to stderr >&2; cat; exit 3']
    const container = await run(client, { image, args, stdin: true })
    const [output, errors] = [textOf(container.stdout), textOf(container.stderr)]
    container.stdin?.end(Buffer.alloc(3_000_000, 'x'))
    expect((await container.wait()).code).toBe(3)
    await container.remove()
    expect((await output).length).toBe(3_000_000)
    expect(await errors).toBe('to stderr\n')
    expect(container.node).toBe('here')
    expect(await endpoint.ctr('default', 'containers', 'ls', '-q')).toBe('')
  })

  it('has back-pressure: a process waits for who does not read, and nothing is lost', async () => {
    const args = ['sh', '-c', 'yes | head -c 50000000 >/tmp/all; cat /tmp/all; rm /tmp/all']
    const container = await run(client, { image, args })
    let size = 0
    for await (const piece of container.stdout ?? []) {
      if (size === 0) {
        const { process } = await client.tasks.get({ containerId: container.id })
        expect(process?.status).toBe(Status.RUNNING)
      }
      size += (piece as Buffer).length
    }
    expect(size).toBe(50_000_000)
    expect((await container.wait()).code).toBe(0)
    await container.remove()
  })

  it('enters a container that ctr made, with a terminal', async () => {
    await endpoint.ctr('default', 'run', '-d', image, 'sleeper', 'sleep', '600')
    const process = await exec(client, {
      container: 'sleeper',
      args: ['sh', '-c', 'read a; stty size; echo "<$a>"'],
      stdin: true,
      terminal: true,
    })
    const output = textOf(process.stdout)
    await process.resize(100, 30)
    process.stdin?.write('typed\n')
    expect((await process.wait()).code).toBe(0)
    await process.delete()
    expect((await output).replaceAll('\r', '')).toBe('typed\n30 100\n<typed>\n')
    await client.tasks.kill({ containerId: 'sleeper', signal: 9 })
    await client.tasks.wait({ containerId: 'sleeper' })
    await endpoint.ctr('default', 'tasks', 'rm', 'sleeper')
    await endpoint.ctr('default', 'containers', 'rm', 'sleeper')
  })

  it('names the node that is not there', async () => {
    const refused = await refusalOf(run(client, { image, args: ['true'], node: 'nowhere' }))
    expect(refused.message).toContain('nowhere')
    expect(await endpoint.ctr('default', 'leases', 'ls', '-q')).toBe('')
  })

  it('is the same for the command line', async () => {
    const { ca, cert, key } = await endpoint.certificate('shell', ['default:read,exec,write'])
    const at = ['-a', endpoint.address, '--ca', ca, '--cert', cert, '--key', key]
    expect(await runFlotilla({ args: ['run', ...at, '--rm', image, 'echo', 'over the network'] })).toEqual({
      code: 0,
      stdout: 'over the network\n',
      stderr: '',
    })
    const started = await runFlotilla({ args: ['run', ...at, '-d', '--name', 'logged', image, 'echo', 'for the log'] })
    expect(started).toMatchObject({ code: 0, stdout: 'logged\n' })
    expect((await runFlotilla({ args: ['logs', ...at, '-f', 'logged'] })).stdout).toBe('for the log\n')
    expect(await runFlotilla({ args: ['rm', ...at, '-f', 'logged'] })).toMatchObject({ code: 0, stderr: '' })
    const refused = await runFlotilla({ args: ['ps', ...at, '-n', 'other'] })
    expect(refused).toMatchObject({ code: 4, stdout: '' })
    expect(refused.stderr).toMatch(/^flotilla ps: "shell-\d+" may not read in namespace "other"/)
  })
})

async function textOf(stream: Readable | undefined): Promise<string> {
  if (stream === undefined) throw new Error('the process has no such stream')
  return await text(stream)
}
