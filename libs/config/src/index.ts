export { type Config, ConfigError, defaultFile, loadConfig, type Settings, type TlsFiles } from './config.ts'
export { type Option, options } from './options.ts'
