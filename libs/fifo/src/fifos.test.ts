import { execFileSync, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { tempWorld } from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { openFifos } from './index.ts'

const mkfifo = (paths: readonly string[]) => void execFileSync('mkfifo', ['-m', '600', ...paths])

describe('FIFOs', () => {
  it('carry bytes both ways and end when the other side goes', async () => {
    await using world = await tempWorld()
    await using fifos = await openFifos(world.join('io'), { stdin: true, terminal: false, mkfifo })
    const { stdin, stdout, stderr } = fifos.paths
    const output = text(fifos.stdout)
    const errors = text(fifos.stderr!)
    const shell = spawn('sh', ['-c', `exec <"${stdin}" >"${stdout}" 2>"${stderr}"; echo ready; wc -c; echo bad >&2`])
    const opened = new Promise((resolve) => fifos.stdout.once('data', resolve))
    await opened
    fifos.started()
    fifos.stdin!.end(Buffer.alloc(1_000_000, 'x'))
    await new Promise((resolve) => shell.once('exit', resolve))
    expect(await output).toBe('ready\n1000000\n')
    expect(await errors).toBe('bad\n')
  })

  it('keep output of who was gone before anybody read', async () => {
    await using world = await tempWorld()
    await using fifos = await openFifos(world.join('io'), { stdin: false, terminal: true, mkfifo })
    expect(fifos.paths).toMatchObject({ stdin: '', stderr: '' })
    execFileSync('sh', ['-c', `echo hello >"${fifos.paths.stdout}"`])
    fifos.started()
    expect(await text(fifos.stdout)).toBe('hello\n')
  })

  it('leave nothing behind', async () => {
    await using world = await tempWorld()
    const fifos = await openFifos(world.join('io'), { stdin: true, terminal: false, mkfifo })
    await fifos[Symbol.asyncDispose]()
    expect(existsSync(world.join('io'))).toBe(false)
    const failing = openFifos(world.join('io'), {
      stdin: true,
      terminal: false,
      mkfifo: () => Promise.reject(new Error('no')),
    })
    await expect(failing).rejects.toThrow('no')
    expect(existsSync(world.join('io'))).toBe(false)
  })
})
