/** The default theme of VitePress with Bailiff's colours. */
import DefaultTheme from 'vitepress/theme';
import './style.css';

export default DefaultTheme;
