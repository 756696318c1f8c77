import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { tempWorld } from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { removeEmptyGroups } from '../harness/cgroups.ts'
import { runCtr } from '../harness/ctr.ts'
import { startStandalone } from '../harness/standalone.ts'
import { underTest } from '../harness/system.ts'
import { debian12, repository } from '../harness/versions.ts'

const standalone = (...args: string[]) => spawnSync(join(repository, 'tools/standalone'), args, { encoding: 'utf8' })

describe.skipIf(underTest !== 'standalone')('the configuration file', () => {
  it('is printed with its defaults and as it holds, and refused with the line', async () => {
    await using world = await tempWorld({ name: 'e2e-test' })
    const file = world.join('config.toml')
    writeFileSync(file, standalone('config', 'default').stdout)
    const dumped = standalone('config', 'dump', '--config', file, '--node-name', 'here')
    expect(dumped).toMatchObject({ status: 0, stderr: '' })
    expect(dumped.stdout).toContain('node_name = "here"')
    writeFileSync(file, dumped.stdout)
    expect(standalone('config', 'dump', '--config', file).stdout).toBe(dumped.stdout)

    writeFileSync(file, '[grpc]\nport = 1\n')
    for (const args of [
      ['config', 'dump', '--config', file],
      ['--config', file],
    ])
      expect(standalone(...args)).toMatchObject({
        status: 1,
        stderr: expect.stringMatching(/config\.toml:2: unknown key "grpc.port"\n$/),
      })
    expect(standalone('config', 'migrate')).toMatchObject({ status: 1, stderr: expect.stringContaining('config dump') })
  })

  it('of containerd gives the socket to a group', async () => {
    await using world = await tempWorld({ name: 'e2e-test' })
    const file = world.join('containerd.toml')
    const text = [
      'version = 2',
      '[grpc]',
      'gid = 65534',
      '[plugins."io.containerd.gc.v1.scheduler"]',
      'startup_delay = "1s"',
    ]
    writeFileSync(file, text.join('\n'))
    await using system = await startStandalone(world, ['--config', file])
    const { uid, gid, mode } = statSync(system.address)
    expect({ uid, gid, mode: mode & 0o777 }).toEqual({ uid: 0, gid: 65_534, mode: 0o660 })
  })

  it('is read again at SIGHUP: some of it holds at once, the rest waits, and a bad one changes nothing', async () => {
    await using world = await tempWorld({ name: 'e2e-test' })
    const file = world.join('flotilla.toml')
    writeFileSync(file, '[content]\nsharing_policy = "shared"\n')
    await using system = await startStandalone(world, ['--config', file])
    const { address, logs } = system
    const main = (await system.processes()).get('main') ?? 0
    const policy = async () =>
      /policy +(\w+)/i.exec((await runCtr({ address, version: debian12, args: ['plugins', 'ls', '-d'] })).stdout)?.[1]
    expect(await policy()).toBe('shared')

    writeFileSync(
      file,
      '[content]\nsharing_policy = "isolated"\n[events]\nretention_hours = 1\n[gc]\npause_threshold = 0.1\n',
    )
    process.kill(main, 'SIGHUP')
    await expect.poll(policy, { timeout: 30_000 }).toBe('isolated')
    const told = readFileSync(logs[0] ?? '', 'utf8')
      .split('\n')
      .find((line) => line.includes('configuration read again'))
    expect(JSON.parse(told ?? '{}')).toMatchObject({
      taken: ['sharingPolicy', 'gc.pauseThreshold'],
      waiting: ['events.retentionHours'],
    })

    writeFileSync(file, 'sharing_policy = "shared"\n')
    process.kill(main, 'SIGHUP')
    await expect.poll(() => readFileSync(logs[0] ?? '', 'utf8'), { timeout: 30_000 }).toContain('the old one holds')
    expect(await policy()).toBe('isolated')
  })

  it('moves the process and its stores to a control group, and gives them a score for when memory is short', async () => {
    await using world = await tempWorld({ name: 'e2e-test' })
    const group = `e2e-own-${process.pid}`
    world.cleanup(() => removeEmptyGroups(group))
    const file = world.join('containerd.toml')
    writeFileSync(file, `version = 2\noom_score = 321\n[cgroup]\npath = "/${group}"\n`)
    await using system = await startStandalone(world, ['--config', file])
    const processes = await system.processes()
    expect([...processes.keys()].toSorted()).toEqual(['main', 'nats-server', 'redis-server'])
    for (const pid of processes.values()) {
      expect(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8')).toBe('321\n')
      const groups = readFileSync(`/proc/${pid}/cgroup`, 'utf8').split('\n')
      const chosen = groups.filter((line) =>
        (existsSync('/sys/fs/cgroup/cpuset') ? /:cpuset:|:memory:/ : /^0::/).test(line),
      )
      expect(chosen.length).toBeGreaterThan(0)
      for (const line of chosen) expect(line).toMatch(new RegExp(`:/${group}$`))
    }
  })
})
