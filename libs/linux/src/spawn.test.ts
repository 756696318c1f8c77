import { once } from 'node:events'
import { open } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { describe, expect, it } from 'vitest'
import { type ChildProgram, spawnProgram } from './index.ts'

const shell = (script: string, env: Record<string, string> = {}, cwd?: string) =>
  spawnProgram('/bin/sh', ['-c', script], { env: { PATH: process.env.PATH, ...env }, cwd })

const outcome = async ({ exited, stderr, stdout }: ChildProgram) => [
  await text(stdout),
  await text(stderr),
  await exited,
]

describe('a program', () => {
  it('has its arguments, environment and directory, and tells output, errors and exit status', async () => {
    const child = await shell('pwd; echo "$WORD"; echo bad >&2; exit 7', { WORD: 'grün' }, '/dev/shm')
    child.stdin.end()
    expect(await outcome(child)).toEqual(['/dev/shm\ngrün\n', 'bad\n', 7])
  })

  it('reads what is written to it, more than a pipe holds', async () => {
    const child = await shell('wc -c')
    child.stdin.end(Buffer.alloc(1_000_000))
    expect(await outcome(child)).toEqual(['1000000\n', '', 0])
  })

  it('is in a session of its own, without our files, and dies of a broken pipe as others do', async () => {
    await using file = await open(import.meta.filename)
    const child = await shell('ls -l /proc/self/fd; yes | head -n1; cat')
    const session = await spawnProgram('/bin/ps', ['-o', 'sid=', '-p', String(child.pid)], { env: {} })
    expect((await text(session.stdout)).trim()).toBe(String(child.pid))
    child.stdin.end()
    const [output, errors, code] = await outcome(child)
    expect(output).toMatch(/0 -> pipe:/)
    expect(output).toMatch(/\ny\n$/)
    expect(output).not.toContain(import.meta.filename)
    expect([errors, code, file.fd > 2]).toEqual(['', 0, true])
  })

  it('that is killed has no exit status, and can be killed again', async () => {
    const child = await shell('exec sleep 1000')
    child.kill()
    expect(await child.exited).toBe(null)
    child.kill()
  })

  it('that does not exist is an error, also a directory that does not', async () => {
    await expect(spawnProgram('/none', [], { env: {} })).rejects.toMatchObject({ code: 'ENOENT', path: '/none' })
    await expect(shell('true', {}, '/none')).rejects.toMatchObject({ code: 'ENOENT' })
  })
})

it('many at once are all waited for, beside those of Node', async () => {
  const { spawn } = await import('node:child_process')
  const others = Array.from({ length: 10 }, () => spawn('/bin/sh', ['-c', 'exit 3']))
  const theirs = Promise.all(others.map((child) => once(child, 'exit')))
  const ours = await Promise.all(
    Array.from({ length: 40 }, async (_, number) => {
      const child = await shell(`exit ${number}`)
      const code = await child.exited
      for (const stream of [child.stdin, child.stdout, child.stderr]) stream.destroy()
      return code
    }),
  )
  expect(ours).toEqual(Array.from({ length: 40 }, (_, number) => number))
  expect((await theirs).map(([code]) => code)).toEqual(others.map(() => 3))
})
