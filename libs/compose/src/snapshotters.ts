import type { Config } from '@flotilla/config'
import type { DriverKind } from '@flotilla/snapshot-driver'
import { btrfs } from '@flotilla/snapshotter-btrfs'
import { native } from '@flotilla/snapshotter-native'
import { overlayfs } from '@flotilla/snapshotter-overlayfs'
import { proxy } from '@flotilla/snapshotter-proxy'

/** Every driver that is built in: a new one is its folder and a line here. */
const builtIn: readonly DriverKind[] = [overlayfs(), native(), btrfs()]

/** The snapshot drivers of a node. A proxy plugin takes the place of a driver by the same name. */
export function snapshotters({ proxyPlugins }: Pick<Config, 'proxyPlugins'>): DriverKind[] {
  const plugged = proxyPlugins.filter(({ type }) => type === 'snapshot').map(proxy)
  return [...builtIn.filter(({ name }) => !plugged.some((one) => one.name === name)), ...plugged]
}
