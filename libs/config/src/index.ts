export { type Config, dumpConfig, loadConfig, type Settings, type TlsFiles } from './config.ts'
export { ConfigError } from './config-error.ts'
export { type Option, options } from './options.ts'
export { defaultFile } from './printed.ts'
