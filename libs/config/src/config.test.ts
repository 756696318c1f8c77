import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { defaultFile, loadConfig } from './index.ts'

const dir = mkdtempSync(join(tmpdir(), 'flotilla-config-'))
afterAll(() => rmSync(dir, { recursive: true }))
const file = (text: string) => {
  const path = join(dir, 'config.toml')
  writeFileSync(path, text)
  return path
}

describe('configuration', () => {
  it('reads its own default file back as the defaults', () => {
    expect(loadConfig({ file: file(defaultFile()) })).toEqual(loadConfig())
  })
  it('lets a flag win over the file and the file over the default', () => {
    const config = loadConfig({
      file: file('root = "/a"\nstate = "/b"\n[log]\nlevel = "warn"'),
      overrides: { root: '/c' },
    })
    expect(config).toMatchObject({ root: '/c', state: '/b', logLevel: 'warn' })
  })
  it('takes service addresses by name', () => {
    expect(loadConfig({ file: file('[services]\nimages = "127.0.0.1:1"') }).services).toEqual({ images: '127.0.0.1:1' })
  })
  it.each([
    ['\n\n[gc]\nspeed = 1', /config\.toml:4: unknown key "gc.speed"/],
    ['[nope]\nx = 1', /config\.toml:1: unknown key "nope"/],
    ['[diff]\nworkers = "two"', /config\.toml:2: diff.workers must be a whole number, is "two"/],
    ['[log]\nlevel = "loud"', /log.level must be one of trace, debug/],
    ['[cluster]\nendpoint = "0.0.0.0:7443"', /cluster\.endpoint 0\.0\.0\.0:7443 needs cluster\.ca/],
    ['[cluster]\ncert = "/a"\nkey = "/b"', /cluster\.ca, cluster\.cert and cluster\.key are set together/],
    ['[redis]\ncert = "/a"', /redis\.cert and redis\.key are set together/],
    ['root = ', /config\.toml: /],
  ])('refuses %j with the place', (text, message) => {
    expect(() => loadConfig({ file: file(text) })).toThrow(message)
  })
})

describe('proxy plugins', () => {
  it('are named tables as containerd has them', () => {
    const text = [
      '[proxy_plugins.stargz]\ntype = "snapshot"\naddress = "/run/stargz.sock"\ncapabilities = ["rebase"]',
      '[proxy_plugins.stargz.exports]\nroot = "/r"',
      '[proxy_plugins."other one"]\ntype = "diff"\naddress = "unix:///run/other.sock"',
    ].join('\n')
    expect(loadConfig({ file: file(text) }).proxyPlugins).toEqual([
      {
        name: 'stargz',
        type: 'snapshot',
        address: 'unix:///run/stargz.sock',
        platform: '',
        exports: { root: '/r' },
        capabilities: ['rebase'],
      },
      {
        name: 'other one',
        type: 'diff',
        address: 'unix:///run/other.sock',
        platform: '',
        exports: {},
        capabilities: [],
      },
    ])
  })
  it.each([
    ['[proxy_plugins.a]\ntype = "vm"\naddress = "/s"', ':2: proxy_plugins.a.type must be'],
    ['[proxy_plugins.a]\ntype = "diff"\naddress = "host:1"', ':3: proxy_plugins.a.address must be the path'],
    ['[proxy_plugins.a]\ntype = "diff"\naddress = "/s"\nmore = 1', ':4: unknown key "proxy_plugins.a.more"'],
    ['proxy_plugins = 1', ':1: proxy_plugins must be a table'],
    [
      '[proxy_plugins.a]\ntype = "content"\naddress = "/s"\n[proxy_plugins.b]\ntype = "content"\naddress = "/t"',
      ':4: proxy_plugins.b: there is a content store already, "a"',
    ],
    [
      '[cluster]\nadvertise = "127.0.0.1:1"\n[proxy_plugins.a]\ntype = "content"\naddress = "/s"',
      'proxy_plugins.a: a content store of another program cannot be used with cluster.advertise',
    ],
  ])('are refused with the line: %s', (text, message) => {
    expect(() => loadConfig({ file: file(text) })).toThrow(message)
  })
})
