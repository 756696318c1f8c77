import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { tempWorld } from '@flotilla/testing'
import { describe, expect, it } from 'vitest'
import { runFlotilla } from '../harness/flotilla.ts'
import { repository } from '../harness/versions.ts'

const run = (...args: string[]) => runFlotilla({ args })

describe('flotilla', () => {
  it('says what it can do', async () => {
    const { code, stdout } = await run('--help')
    expect(code).toBe(0)
    for (const name of ['nodes drain', 'run IMAGE', 'pki client', 'completion']) expect(stdout).toContain(name)
    expect((await run('nodes', '--help')).stdout).toContain('--label')
    expect((await run('run', '--help')).stdout).toContain('usage: flotilla run [OPTIONS] IMAGE [COMMAND…]')
    expect((await run('pki')).stdout + (await run('pki')).stderr).toContain('pki init')
  })

  it.each([
    [['fly'], 2, 'no command "fly"'],
    [['nodes', 'fly'], 2, '"fly" is too much'],
    [['ps', '--colour'], 2, "Unknown option '--colour'"],
    [['ps', '-o', 'xml'], 2, '--output "xml" is not text or json'],
    [['run'], 2, 'needs IMAGE [COMMAND…]'],
    [['logs', '--tail', 'x', 'y'], 2, '--tail "x" is not a whole number'],
    [['kill', '-s', 'NOPE', 'x'], 2, '"NOPE" is not a signal'],
    [['ps', '-a', '10.0.0.1:7443'], 2, 'give --ca, --cert and --key'],
    [['ps', '-a', '/nowhere.sock'], 5, 'flotilla ps: '],
    [['completion', 'tcsh'], 2, '"tcsh" is not bash, zsh or fish'],
    [['pki', 'client', 'x', '--allow', 'default:fly'], 2, '"fly" is not one of read, write, exec, admin'],
    [['pki', 'client', 'x'], 2, '--allow is needed'],
    [['pki', 'node', 'x', '--dir', '/nowhere'], 1, 'no authority in /nowhere'],
  ])('%j ends with %i and says why', async (args, code, message) => {
    const result = await runFlotilla({ args })
    expect(result).toMatchObject({ code, stdout: '' })
    expect(result.stderr).toContain(message)
  })

  it('completes commands, options and names in bash', async () => {
    await using world = await tempWorld()
    await writeFile(world.join('completion'), (await run('completion', 'bash')).stdout)
    const complete = async (...words: string[]) => {
      const script = `. ${world.join('completion')}; COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}; _flotilla; echo "\${COMPREPLY[@]}"`
      const path = `${join(repository, 'tools')}:${dirname(process.execPath)}:${process.env.PATH}`
      return (await promisify(execFile)('bash', ['-c', script], { env: { PATH: path } })).stdout.trim()
    }
    expect(await complete('flotilla', 'no')).toBe('nodes')
    expect(await complete('flotilla', 'nodes', 'dr')).toBe('drain')
    expect(await complete('flotilla', 'nodes', 'drain', '--gr')).toBe('--grace-period')
    expect(await complete('flotilla', 'run', '--net')).toBe('--net-host')
    expect(await complete('flotilla', 'pki', 'client', '--al')).toBe('--allow')
    expect(await complete('flotilla', 'run', '--name', '')).toBe('')
  })

  it('gives fish and zsh theirs', async () => {
    expect((await run('completion', 'fish')).stdout).toContain(
      "complete -c flotilla -n '__fish_seen_subcommand_from exec'",
    )
    expect((await run('completion', 'zsh')).stdout).toMatch(/^#compdef flotilla\n/)
  })
})
